import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from facegender.data import loader
from facegender.data.datamodule import DEMO_SOURCE, FaceDataModule
from facegender.data.loader import (
    Gatherer,
    OrderedBatches,
    PhotographBatches,
    Residence,
    Settled,
    ShuffledBatches,
    batch_loader,
)
from facegender.runs.config import TrainConfig
from facegender.support import machine
from facegender.support.errors import UserError

SIDE = 16


@pytest.fixture(autouse=True)
def folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))


@pytest.fixture
def root(tmp_path) -> Path:
    """Twenty photographs a class below datasets/, no two alike: females are red, males are blue."""
    for label, name in enumerate(("female", "male")):
        folder = tmp_path / "datasets" / "faces" / name
        folder.mkdir(parents=True)
        for number in range(20):
            colour = (200, number, 0) if label == 0 else (0, number, 200)
            Image.new("RGB", (30, 20), colour).save(folder / f"{number}.png")
    return tmp_path


def prepared(root: Path, **settings) -> FaceDataModule:
    module = FaceDataModule(TrainConfig(image_size=SIDE, batch_size=8, accelerator="cpu", **settings), root)
    module.prepare()
    return module


def test_preparing_tells_what_there_is(root):
    module = prepared(root)
    assert module.source == str(root / "datasets" / "faces")
    assert module.train_images == {"female": 16, "male": 16}
    assert module.validation_images == {"female": 4, "male": 4}
    assert module.steps_per_epoch == 4
    assert module.skipped == []
    assert module.notices == []
    assert len(module.digest) == 32


def test_preparing_twice_does_nothing_the_second_time(root):
    module = prepared(root)
    photographs = module.photographs
    (root / "datasets").rename(root / "gone")
    module.prepare()
    module.setup("fit")
    assert module.photographs is photographs


def test_demo_faces_need_no_folder(tmp_path):
    module = prepared(tmp_path, demo=True, demo_faces=10)
    assert module.source == DEMO_SOURCE
    assert module.train_images == {"female": 8, "male": 8}
    assert module.probes(2).names[0].startswith("female/demo_")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_the_digest_changes_with_a_content_or_a_label_and_not_with_the_place(root):
    digest = prepared(root).digest
    (root / "datasets" / "faces").rename(root / "datasets" / "moved")
    assert prepared(root).digest == digest
    female = root / "datasets" / "moved" / "female" / "3.png"
    female.rename(root / "datasets" / "moved" / "male" / "z.png")
    moved = prepared(root).digest
    Image.new("RGB", (9, 9), "green").save(root / "datasets" / "moved" / "male" / "z.png")
    assert len({digest, moved, prepared(root).digest}) == 3


def test_unreadable_files_are_skipped_by_name_and_copies_are_told(root):
    faces = root / "datasets" / "faces"
    (faces / "male" / "broken.jpg").write_bytes(b"no")
    (faces / "male" / "again.png").write_bytes((faces / "female" / "1.png").read_bytes())
    module = prepared(root)
    assert [(skipped.file, skipped.reason) for skipped in module.skipped] == [("male/broken.jpg", "not an image")]
    assert "1 photograph is an exact copy" in module.notices[0]
    assert "filed under both classes" in module.notices[0]


def test_a_class_without_a_readable_photograph_is_named_with_an_example(root):
    for path in (root / "datasets" / "faces" / "male").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"no male photograph can be read \(male/0.png: empty file\)"):
        prepared(root)


def test_no_photographs_at_all_is_the_users_matter(tmp_path):
    with pytest.raises(UserError, match="--demo"):
        prepared(tmp_path)


# Probes -------------------------------------------------------------------------------------------------------------


def test_probes_are_validation_photographs_with_the_classes_in_turn(root):
    module = prepared(root)
    probes = module.probes(5)
    assert probes.labels.tolist() == [0, 1, 0, 1, 0]
    assert probes.images.shape == (5, SIDE, SIDE, 3)
    assert probes.images.dtype == np.uint8
    assert (probes.images[0, 8, 8, 0], probes.images[1, 8, 8, 2]) == (200, 200)
    assert {tuple(image[8, 8].tolist()) for image in probes.images} <= set(contents(module.val_dataloader()))


def test_probes_stay_the_same_and_more_of_them_begin_with_the_fewer(root):
    assert prepared(root).probes(6).names[:4] == prepared(root).probes(4).names
    assert prepared(root, seed=1).probes(4).names != prepared(root).probes(4).names


def test_more_probes_than_there_are_photographs_are_as_many_as_there_are(root):
    assert len(prepared(root).probes(64).names) == 8


# Batches ------------------------------------------------------------------------------------------------------------


def test_batches_are_bytes_in_channels_last_memory_with_their_labels(root):
    for images, labels in prepared(root).train_dataloader():
        assert images.shape == (8, 3, SIDE, SIDE)
        assert images.dtype == torch.uint8
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64
        assert torch.equal(labels, (images[:, 2, 8, 8] > images[:, 0, 8, 8]).long())


def contents(loader) -> list[tuple[int, ...]]:
    return [tuple(image[:, 8, 8].tolist()) for images, _ in loader for image in images]


def test_an_epoch_has_every_training_photograph_once_and_no_validation_photograph(root):
    module = prepared(root)
    train, validation = contents(module.train_dataloader()), contents(module.val_dataloader())
    assert len(set(train)) == len(train) == 32
    assert len(set(validation)) == len(validation) == 8
    assert not set(train) & set(validation)


def test_the_order_is_a_matter_of_seed_and_epoch_only(root):
    module = prepared(root)
    loader = module.train_dataloader()
    first = contents(loader)
    torch.manual_seed(99)
    np.random.seed(99)
    assert contents(loader) == first
    loader.sampler.set_epoch(1)
    second = contents(loader)
    assert second != first
    assert sorted(second) == sorted(first)
    other = prepared(root).train_dataloader()
    other.sampler.set_epoch(1)
    assert contents(other) == second


def test_loading_draws_nothing_from_torchs_generator(root):
    loader = prepared(root).train_dataloader()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    contents(loader)
    assert torch.equal(torch.rand(3), expected)


def test_a_resumed_epoch_has_only_the_rest_and_keeps_its_length(root):
    module = prepared(root)
    loader = module.train_dataloader()
    loader.sampler.set_epoch(3)
    whole = contents(loader)
    loader.sampler.set_epoch(4)
    after = contents(loader)
    module.resume_from(3, 2)
    resumed = module.train_dataloader()
    assert len(resumed) == 4
    assert contents(resumed) == whole[16:]
    resumed.sampler.set_epoch(4)
    assert contents(resumed) == after


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_load_the_same_batches(root, workers):
    assert contents(prepared(root, workers=workers).train_dataloader()) == contents(prepared(root).train_dataloader())


def test_a_spawned_worker_maps_the_file_instead_of_receiving_the_pixels(root):
    module = prepared(root, workers=1)
    batches = module.train_dataloader().dataset
    assert isinstance(batches.gatherer.source.images, np.memmap)
    pickled = pickle.dumps(batches)
    assert len(pickled) < 2000
    images, labels = pickle.loads(pickled)[np.array([3, 30])]
    assert torch.equal(images, batches[np.array([3, 30])][0])
    assert labels.tolist() == [0, 1]


def test_ranks_share_an_epoch_evenly_and_validation_exactly():
    indices = np.arange(21)
    ranks = [ShuffledBatches(indices, 4, 42, rank=rank, world=4) for rank in range(4)]
    shares = [np.concatenate(list(sampler)) for sampler in ranks]
    assert [len(share) for share in shares] == [6, 6, 6, 6]
    assert [len(sampler) for sampler in ranks] == [len(list(sampler)) for sampler in ranks] == [2] * 4
    assert set(np.concatenate(shares)) == set(range(21))
    validation = [np.concatenate(list(OrderedBatches(indices, 4, rank=rank, world=4))) for rank in range(4)]
    assert sorted(np.concatenate(validation)) == list(range(21))


def test_more_ranks_than_photographs_still_get_one_each():
    shares = [list(ShuffledBatches(np.arange(3), 2, 0, rank=rank, world=8)) for rank in range(8)]
    assert [len(share) for share in shares] == [1] * 8


def test_shuffling_stays_as_it_is_so_that_a_later_version_can_resume_a_run():
    sampler = ShuffledBatches(np.arange(10), 10, 42)
    sampler.set_epoch(1)
    assert next(iter(sampler)).tolist() == [0, 8, 7, 4, 3, 1, 2, 9, 6, 5]


# With Lightning -----------------------------------------------------------------------------------------------------


class Recording(pl.LightningModule):
    """Writes down which photographs each training step saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, int, list[tuple[int, ...]]]] = []
        self.validated: list[int] = []
        self.stop_after: int | None = None

    def training_step(self, batch, index):
        images, _ = batch
        self.seen.append((self.current_epoch, index, [tuple(image[:, 8, 8].tolist()) for image in images]))
        return (self.weight * images.float().mean()).sum()

    def validation_step(self, batch, index):
        self.validated.append(self.current_epoch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-6)


class StopMidEpoch(pl.Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def fit(root, model, *, epochs=3, callbacks=(), checkpoint=None, resume=None, workers=0) -> pl.Trainer:
    module = prepared(root, workers=workers)
    if resume:
        module.resume_from(*resume)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
    )
    trainer.fit(model, datamodule=module, ckpt_path=checkpoint, weights_only=False)
    return trainer


def test_lightning_shuffles_each_epoch_anew(root):
    model = Recording()
    fit(root, model)
    epochs = [[seen for epoch, _, seen in model.seen if epoch == number] for number in range(3)]
    assert all(len(epoch) == 4 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize(("stop", "workers"), [(1, 0), (2, 0), (5, 0), (6, 0), (7, 0), (6, 2)])
def test_a_run_that_stopped_inside_an_epoch_goes_on_with_exactly_the_batches_that_were_left(
    root, tmp_path, stop, workers
):
    whole = Recording()
    fit(root, whole)
    first = Recording()
    fit(root, first, callbacks=[StopMidEpoch(stop, tmp_path / "mid.ckpt")])
    assert len(first.seen) == stop
    second = Recording()
    trainer = fit(root, second, checkpoint=tmp_path / "mid.ckpt", resume=divmod(stop, 4), workers=workers)
    assert [seen for _, _, seen in first.seen + second.seen] == [seen for _, _, seen in whole.seen]
    assert [(epoch, index) for epoch, index, _ in second.seen] == [divmod(step, 4) for step in range(stop, 12)]
    assert trainer.current_epoch == 3
    assert trainer.global_step == 12
    assert sorted(set(second.validated)) == [epoch for epoch in range(3) if epoch >= stop // 4]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_stopped_at_the_end_of_an_epoch_goes_on_with_the_next(root, tmp_path, workers):
    whole, first, second = Recording(), Recording(), Recording()
    fit(root, whole)
    fit(root, first, callbacks=[StopMidEpoch(4, tmp_path / "end.ckpt")])
    fit(root, second, checkpoint=tmp_path / "end.ckpt", resume=(1, 0), workers=workers)
    assert [seen for _, _, seen in first.seen + second.seen] == [seen for _, _, seen in whole.seen]


def test_no_worker_process_outlives_its_loader(root):
    before = set(multiprocessing.active_children())
    loader = prepared(root, workers=2).train_dataloader()
    contents(loader)
    del loader
    deadline = 100
    while set(multiprocessing.active_children()) - before and deadline:
        deadline -= 1
        for child in set(multiprocessing.active_children()) - before:
            child.join(0.1)
    assert set(multiprocessing.active_children()) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_batches_for_a_gpu_are_pinned():
    images = np.zeros((4, SIDE, SIDE, 3), np.uint8)
    for workers in (0, 1):
        source = Settled(images, np.zeros(4, np.int64), np.ones(4, bool))
        batches = PhotographBatches(Gatherer(source, Residence("disk"), pinned=True))
        loader = batch_loader(batches, OrderedBatches(np.arange(4), 2), workers=workers, pinned=True, seed=0)
        for batch, labels in loader:
            assert batch.is_pinned()
            assert labels.is_pinned()
            assert batch.is_contiguous(memory_format=torch.channels_last)


# From a cold cache --------------------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    """Spoil a PNG in its middle, which its ends do not tell."""
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT") + 6
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)


def test_damaged_photographs_are_left_out_of_the_same_batches_whether_the_cache_is_cold_or_warm(root):
    males = root / "datasets" / "faces" / "male"
    for number in (2, 5, 11, 17):
        damage(males / f"{number}.png")
    epochs = []
    for cached in (False, True):
        module = prepared(root)
        assert module.photographs.cached == cached
        loader = module.train_dataloader()
        batches = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            batches += [(images.tolist(), labels.tolist()) for images, labels in loader]
        epochs.append((batches, contents(module.val_dataloader()), module.probes(8).names, module.digest))
        assert module.train_images["male"] + module.validation_images["male"] == 20
        assert [file.reason for file in module.skipped] == ["damaged image"] * 4
    assert epochs[0] == epochs[1]
    trained = sum(len(labels) for _, labels in epochs[0][0][:4])
    assert trained + len(epochs[0][1]) == 36


def test_a_batch_of_which_nothing_can_be_decoded_is_one_photograph_that_can(root):
    for number in (2, 5, 11):
        damage(root / "datasets" / "faces" / "male" / f"{number}.png")
    cold = FaceDataModule(TrainConfig(image_size=SIDE, batch_size=1, accelerator="cpu"), root)
    cold.prepare()
    batches = [images for images, _ in cold.train_dataloader()]
    assert len(batches) == 32
    assert all(len(images) == 1 for images in batches)
    assert len({tuple(images[0, :, 8, 8].tolist()) for images in batches}) < 32


@pytest.mark.parametrize("kept", [0, 1])
def test_a_class_of_which_too_little_can_be_decoded_is_refused_before_anything_is_trained(root, kept):
    for path in sorted((root / "datasets" / "faces" / "male").iterdir())[kept:]:
        damage(path)
    said = r"no male photograph can be read \(male/.*: damaged image\)" if not kept else "too few different male"
    for _ in range(2):
        with pytest.raises(UserError, match=said):
            prepared(root)


# Where they are held ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["disk", "memory", "gpu"])
def test_batches_are_the_same_wherever_the_photographs_are_held(root, place):
    expected = [(images.tolist(), labels.tolist()) for images, labels in prepared(root).train_dataloader()]
    module = prepared(root)
    module._residence = Residence(place, torch.device("cpu"))  # stands in for a GPU
    for _ in range(2):
        loader = module.train_dataloader()
        assert [(images.tolist(), labels.tolist()) for images, labels in loader] == expected
    images, labels = next(iter(loader))
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64
    gatherer = loader.dataset.gatherer
    assert (gatherer._on_device is not None) == (place == "gpu")
    assert (gatherer._copy is not None) == (place == "memory")
    assert gatherer is module.val_dataloader().dataset.gatherer


def test_photographs_are_moved_once_all_are_decoded_and_not_before(root):
    class Decoding(Settled):
        finished = False

    source = Decoding(np.arange(4 * 12, dtype=np.uint8).reshape(4, 2, 2, 3), np.arange(4), np.ones(4, bool), False)
    gatherer = Gatherer(source, Residence("gpu", torch.device("cpu")))
    before = [gatherer(np.array([2, 0])) for _ in range(5)]
    assert gatherer._on_device is None
    source.finished = True
    after = gatherer(np.array([2, 0]))
    assert gatherer._on_device is not None
    for batch in before:
        assert torch.equal(batch[0], after[0])
        assert torch.equal(batch[1], after[1])


def test_photographs_from_a_full_cache_are_moved_once_a_step_was_trained():
    source = Settled(np.zeros((4, 2, 2, 3), np.uint8), np.arange(4), np.ones(4, bool))
    gatherer = Gatherer(source, Residence("gpu", torch.device("cpu")))
    gatherer(np.array([0]))
    assert gatherer._on_device is None  # what is free on a GPU is not known yet
    for _ in range(5):
        gatherer(np.array([0]))
    assert gatherer._on_device is not None


def test_a_gpu_that_turns_out_too_small_leaves_them_where_they_are_with_a_notice(root, monkeypatch):
    module = prepared(root)
    module.photographs.complete()
    monkeypatch.setattr(torch, "empty", lambda *_, **__: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    gatherer = Gatherer(module.photographs, Residence("gpu", torch.device("cpu")))
    gatherer._move()
    assert gatherer._on_device is None
    assert "do not fit" in gatherer.notice


GIB = 2**30
CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("size", "gpu_free", "memory", "processes", "place", "works"),
    [
        (10 * GIB, 40 * GIB, 64 * GIB, 1, "gpu", False),
        (30 * GIB, 40 * GIB, 64 * GIB, 1, "memory", False),
        (30 * GIB, 40 * GIB, 64 * GIB, 2, "disk", False),
        (10 * GIB, None, 64 * GIB, 1, "memory", False),
        (40 * GIB, None, 64 * GIB, 1, "disk", False),
        (80 * GIB, 40 * GIB, 64 * GIB, 1, "disk", True),
    ],
)
def test_where_photographs_are_held_is_a_matter_of_their_size(
    monkeypatch, size, gpu_free, memory, processes, place, works
):
    monkeypatch.setattr(loader, "free_memory", lambda device: gpu_free)
    monkeypatch.setattr(loader, "available_memory", lambda: memory)
    chosen = loader.choose(TrainConfig(), size, CUDA if gpu_free else torch.device("cpu"), processes)
    assert chosen.place == place
    assert (chosen.workers > 0) == works
    assert "--cache auto" in chosen.described(size)


def test_what_is_asked_for_is_done_or_refused(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(loader, "free_memory", lambda device: GIB)
    monkeypatch.setattr(loader, "available_memory", lambda: GIB)
    for place in ("disk", "memory"):
        assert loader.choose(TrainConfig(cache=place), 2**20, cpu, 1).place == place
    assert loader.choose(TrainConfig(cache="gpu"), 2**20, CUDA, 1).place == "gpu"
    assert loader.choose(TrainConfig(workers=3), 2**20, cpu, 1).workers == 3
    for config, device in ((TrainConfig(cache="gpu"), cpu), (TrainConfig(cache="gpu"), CUDA)):
        with pytest.raises(UserError, match="--cache gpu: "):
            loader.choose(config, 2 * GIB, device, 1)
    with pytest.raises(UserError, match="--cache memory: "):
        loader.choose(TrainConfig(cache="memory"), 2 * GIB, cpu, 1)


def test_a_containers_limit_counts(monkeypatch, tmp_path):
    said = {"memory.max": "1000", "memory.current": "700", "memory.stat": "anon 1\ninactive_file 200\n"}
    for name, text in said.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "CONTROL_GROUP", tmp_path)
    assert machine.available_memory() == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.available_memory() > 2**20
