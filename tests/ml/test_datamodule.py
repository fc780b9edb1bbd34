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
from facegender.data.dataset import split_indices
from facegender.data.loader import BatchFetcher, BatchLoader, DataLocation, ShuffledBatches, ordered_batches
from facegender.runs.config import TrainConfig
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


def test_preparing_finds_and_splits_the_photographs(root):
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
    photos = module.photos
    (root / "datasets").rename(root / "gone")
    module.prepare()
    module.prepare()
    assert module.photos is photos


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


def test_unreadable_files_are_skipped_by_name_and_copies_are_reported(root):
    faces = root / "datasets" / "faces"
    (faces / "male" / "broken.jpg").write_bytes(b"no")
    (faces / "male" / "again.png").write_bytes((faces / "female" / "1.png").read_bytes())
    module = prepared(root)
    assert [(skipped.file, skipped.reason) for skipped in module.skipped] == [("male/broken.jpg", "not an image")]
    assert module.notices == [
        "photographs that are exact copies of others and stay on the same side of the split: 1",
        "photographs that are filed under both classes: 1",
    ]


def test_the_files_of_the_photographs_are_listed_in_the_order_of_the_validation(root):
    (root / "datasets" / "faces" / "female" / "0.png").write_bytes(b"no")
    module = prepared(root)
    folder = root / "datasets" / "faces"
    images = torch.cat([images for images, _ in module.val_dataloader()])
    assert len(images) == len(module.photographs.validation)
    for image, name in zip(images, module.photographs.validation, strict=True):
        assert image[:, 8, 8].tolist() == list(Image.open(folder / name).getpixel((8, 8)))
    assert len(module.photographs.train) == 39 - len(images)
    assert not set(module.photographs.train) & set(module.photographs.validation)


@pytest.fixture
def root_with_near_copies(root) -> Path:
    """The same folder with ten more photographs of females, each in two sizes."""
    folder = root / "datasets" / "faces" / "female"
    for number in range(10):
        noise = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((120, 120), Image.Resampling.BICUBIC)
        image.save(folder / f"{number} original.png")
        image.resize((80, 80)).save(folder / f"{number} smaller.jpg")
    return root


def sides_of_near_copies(module: FaceDataModule) -> list[set[str]]:
    """For each pair of near-copies, the sides of the split that it is on."""
    sides: dict[str, set[str]] = {}
    for side, batches in (("train", module.train_dataloader()), ("validation", module.val_dataloader())):
        for index in np.concatenate(list(batches.sampler)):
            if " " in (name := module.photos.names[index]):
                sides.setdefault(name.split()[0], set()).add(side)
    return list(sides.values())


def test_near_copies_stay_on_the_same_side_of_the_split(root_with_near_copies):
    for seed in range(4):
        module = prepared(root_with_near_copies, seed=seed)
        assert [len(sides) for sides in sides_of_near_copies(module)] == [1] * 10
        assert module.notices == [
            "photographs that are near-copies of others and stay on the same side of the split: 10"
        ]
        assert [len(group) for group in module.near_copies] == [2] * 10


def test_a_run_that_began_without_near_copies_keeps_its_split(root_with_near_copies):
    config = TrainConfig(image_size=SIDE, batch_size=8, accelerator="cpu")
    module = FaceDataModule(config, root_with_near_copies, near_copies=[])
    module.prepare()
    labels, digests = module.photos.labels, module.photos.digests
    train, validation = split_indices(labels, digests, config.val_split, config.seed)
    assert sorted(np.concatenate(list(module.train_dataloader().sampler))) == train.tolist()
    assert np.concatenate(list(module.val_dataloader().sampler)).tolist() == validation.tolist()
    assert max(len(sides) for sides in sides_of_near_copies(module)) == 2
    assert module.notices == []


def test_a_class_without_a_readable_photograph_is_named_with_an_example(root):
    for path in (root / "datasets" / "faces" / "male").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"no male photograph can be read \(male/0.png: empty file\)"):
        prepared(root)


@pytest.mark.parametrize("kept", [0, 1])
def test_a_class_of_which_too_little_can_be_decoded_is_refused(root, kept):
    for path in sorted((root / "datasets" / "faces" / "male").iterdir())[kept:]:
        damage(path)
    message = "too few different male" if kept else r"no male photograph can be read \(male/.*: damaged image\)"
    for _ in range(2):  # decoded, then cached
        with pytest.raises(UserError, match=message):
            prepared(root)


def damage(path: Path) -> None:
    """Spoil a PNG in its middle, which its ends do not tell."""
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT") + 6
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)


def test_damaged_photographs_count_as_if_they_were_not_there(root):
    males = root / "datasets" / "faces" / "male"
    for number in (2, 5, 11, 17):
        damage(males / f"{number}.png")
    module = prepared(root)
    assert [file.reason for file in module.skipped] == ["damaged image"] * 4
    assert module.train_images["male"] + module.validation_images["male"] == 16
    for number in (2, 5, 11, 17):
        (males / f"{number}.png").unlink()
    without = prepared(root)
    assert without.digest == module.digest
    assert contents(without.train_dataloader()) == contents(module.train_dataloader())


def test_split_probes_and_order_stay_as_they_are_so_that_a_later_version_can_resume_a_run(tmp_path):
    for label, name in enumerate(("female", "male")):
        (tmp_path / "datasets" / name).mkdir(parents=True)
        for number in range(20):
            pixels = bytes([200 * (1 - label), number, 200 * label]) * 64
            (tmp_path / "datasets" / name / f"{number}.ppm").write_bytes(b"P6 8 8 255\n" + pixels)
    module = prepared(tmp_path)
    assert module.digest == "49048926db73399d7e002c362fdf72c6"
    assert np.concatenate(list(module.val_dataloader().sampler)).tolist() == [6, 8, 12, 19, 21, 23, 30, 37]
    assert module.probes(4).names == ["female/2.ppm", "male/7.ppm", "female/16.ppm", "male/11.ppm"]
    sampler = module.train_dataloader().sampler
    sampler.set_epoch(2)
    assert next(iter(sampler)).tolist() == [7, 26, 11, 0, 10, 14, 2, 3]


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


def test_a_spawned_worker_opens_the_file_instead_of_receiving_the_pixels(root):
    fetcher = prepared(root, workers=1).train_dataloader().dataset
    pickled = pickle.dumps(fetcher)
    assert len(pickled) < 40 * SIDE * SIDE * 3 / 4
    images, labels = pickle.loads(pickled)[np.array([3, 30])]
    assert torch.equal(images, fetcher[np.array([3, 30])][0])
    assert labels.tolist() == [0, 1]


def test_ranks_share_an_epoch_evenly_and_validation_exactly():
    indices = np.arange(21)
    ranks = [ShuffledBatches(indices, 4, 42, rank=rank, world=4) for rank in range(4)]
    shares = [np.concatenate(list(sampler)) for sampler in ranks]
    assert [len(share) for share in shares] == [6, 6, 6, 6]
    assert [len(sampler) for sampler in ranks] == [len(list(sampler)) for sampler in ranks] == [2] * 4
    assert set(np.concatenate(shares)) == set(range(21))
    validation = [np.concatenate(ordered_batches(indices, 4, rank=rank, world=4)) for rank in range(4)]
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
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_for_a_gpu_are_pinned(root, workers):
    fetcher = BatchFetcher(prepared(root).photos, DataLocation("disk", torch.device("cuda"), workers))
    for batch, labels in BatchLoader(fetcher, ordered_batches(np.arange(4), 2), seed=0):
        assert batch.is_pinned()
        assert labels.is_pinned()
        assert batch.is_contiguous(memory_format=torch.channels_last)


# Where they are held ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["disk", "memory", "gpu"])
def test_batches_are_the_same_wherever_the_photographs_are_held(root, storage):
    expected = [(images.tolist(), labels.tolist()) for images, labels in prepared(root).train_dataloader()]
    module = prepared(root)
    module._location = DataLocation(storage, torch.device("cpu"))  # stands in for a GPU
    for _ in range(2):
        loader = module.train_dataloader()
        assert [(images.tolist(), labels.tolist()) for images, labels in loader] == expected
    images, labels = next(iter(loader))
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64
    fetcher = loader.dataset
    assert (fetcher._copy is not None) == (storage != "disk")
    assert fetcher is module.val_dataloader().dataset


def test_photographs_are_moved_once_a_step_was_trained(root):
    fetcher = BatchFetcher(prepared(root).photos, DataLocation("gpu", torch.device("cpu")))
    fetcher[np.array([0])]
    assert fetcher._copy is None  # what is free on a GPU is not known yet
    for _ in range(5):
        fetcher[np.array([0])]
    assert fetcher._copy is not None


def test_photographs_that_the_disk_does_not_take_are_not_copied_in_memory(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FACEGENDER_CACHE", str(tmp_path / "file"))
    module = prepared(root, cache="memory")
    assert "kept in memory only" in module.notices[0]
    module.choose_location(torch.device("cpu"))
    loader = module.train_dataloader()
    assert len(contents(loader)) == 32
    assert loader.dataset._copy is None


def test_a_gpu_that_turns_out_too_small_leaves_them_where_they_are_with_a_notice(root, monkeypatch):
    module = prepared(root)
    expected = contents(module.train_dataloader())
    module._fetcher = BatchFetcher(module.photos, DataLocation("gpu", torch.device("meta")))
    empty = torch.empty

    def out_of_memory(*sizes, device=None, **options):
        if device is not None:
            raise torch.OutOfMemoryError
        return empty(*sizes, **options)

    monkeypatch.setattr(torch, "empty", out_of_memory)
    assert contents(module.train_dataloader()) == expected
    assert "do not fit on meta" in module.notices[-1]


GIB = 2**30
CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("size", "gpu_free", "memory", "processes", "storage", "works"),
    [
        (10 * GIB, 40 * GIB, 64 * GIB, 1, "gpu", False),
        (30 * GIB, 40 * GIB, 64 * GIB, 1, "memory", False),
        (30 * GIB, 40 * GIB, 64 * GIB, 2, "disk", False),
        (10 * GIB, None, 64 * GIB, 1, "memory", False),
        (40 * GIB, None, 64 * GIB, 1, "disk", False),
        (80 * GIB, 40 * GIB, 64 * GIB, 1, "disk", True),
    ],
)
def test_where_photographs_are_held_depends_on_their_size(
    monkeypatch, size, gpu_free, memory, processes, storage, works
):
    monkeypatch.setattr(loader, "free_memory", lambda device: gpu_free)
    monkeypatch.setattr(loader, "available_memory", lambda: memory)
    chosen = loader.choose_location(TrainConfig(), size, CUDA if gpu_free else torch.device("cpu"), processes)
    assert chosen.storage == storage
    assert (chosen.workers > 0) == works
    assert "--cache auto" in chosen.describe(size)


def test_what_the_user_asks_for_is_done_or_refused(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(loader, "free_memory", lambda device: GIB)
    monkeypatch.setattr(loader, "available_memory", lambda: GIB)
    for storage in ("disk", "memory"):
        assert loader.choose_location(TrainConfig(cache=storage), 2**20, cpu, 1).storage == storage
    assert loader.choose_location(TrainConfig(cache="gpu"), 2**20, CUDA, 1).storage == "gpu"
    assert loader.choose_location(TrainConfig(workers=3), 2**20, cpu, 1).workers == 3
    for config, device in ((TrainConfig(cache="gpu"), cpu), (TrainConfig(cache="gpu"), CUDA)):
        with pytest.raises(UserError, match="--cache gpu: "):
            loader.choose_location(config, 2 * GIB, device, 1)
    with pytest.raises(UserError, match="--cache memory: "):
        loader.choose_location(TrainConfig(cache="memory"), 2 * GIB, cpu, 1)
