"""From journal to curves: follow the journal, fold it into a state, reduce its steps to what a chart can show."""
