"""From a journal to curves: follow it, fold it into a state, reduce the steps to what a chart can show."""
