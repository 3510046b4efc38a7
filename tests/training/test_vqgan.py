"""Training a VQGAN: every loss reaches what it is for, dead codes come back, the discriminator joins in time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

import tiny
from visual_echoes.metrics.classifiers import ClassifierConfig, build_classifier, save_classifier
from visual_echoes.training.fine_tuning import freeze
from visual_echoes.training.loop import fit
from visual_echoes.training.perceptual import edge_distance, no_perceptual
from visual_echoes.training.task import Phase
from visual_echoes.training.vqgan import CodeTracker, VQGANLoss, VQGANTask, hinge_loss

CPU = torch.device("cpu")


def phases(task: VQGANTask, step: int = 0) -> list[Phase]:
    return list(task.phases(task.batch(4, tiny.generator()), step))


def test_gradients_reach_every_parameter_and_the_codebook() -> None:
    task = tiny.vqgan_task()
    (phase,) = phases(task)
    phase.loss.backward()
    unreached = [name for name, p in task.model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unreached == []


def test_the_codebook_is_pulled_towards_the_features_that_use_it() -> None:
    task = tiny.vqgan_task()
    batch = task.batch(4, tiny.generator())
    with torch.no_grad():
        output = task.model.eval()(batch)
    (phase,) = task.phases(batch, 0)
    phase.loss.backward()
    gradient = task.model.quantize.embedding.weight.grad
    used = output.indices_Bhw.unique()
    expected = torch.zeros_like(gradient)
    error = 2 * (output.codes_BDhw - output.z_BDhw) / output.z_BDhw.numel()
    expected.index_add_(0, output.indices_Bhw.flatten(), error.movedim(1, -1).flatten(0, -2))
    torch.testing.assert_close(gradient, expected)
    assert gradient[used].abs().sum() > 0


def test_the_total_is_the_weighted_sum() -> None:
    task = tiny.vqgan_task(
        squared_weight=0.7, commitment_weight=0.4, codebook_weight=1.3, perceptual="edges", perceptual_weight=0.2
    )
    task.model.eval()
    batch = task.batch(4, tiny.generator())
    (phase,) = task.phases(batch, 0)
    output = task.model(batch)
    fidelity = F.l1_loss(output.reconstruction_BCHW, batch) + 0.7 * F.mse_loss(output.reconstruction_BCHW, batch)
    fidelity = fidelity + 0.2 * edge_distance(output.reconstruction_BCHW, batch)
    distance = F.mse_loss(output.codes_BDhw, output.z_BDhw)
    torch.testing.assert_close(phase.loss, fidelity + (1.3 + 0.4) * distance)
    torch.testing.assert_close(phase.metrics["commitment"], distance)


def tracker() -> CodeTracker:
    return CodeTracker(tiny.vqgan_config(codes=8, code_dim=2), decay=0.5)


def test_dead_codes_move_onto_recent_features() -> None:
    tracked, codebook = tracker(), torch.full((8, 2), 100.0)
    features = torch.rand(3, 2, 4, 4, generator=tiny.generator())
    for _ in range(6):
        tracked.observe(torch.arange(48).reshape(3, 4, 4) % 5, features)
        tracked.settle()
    alive = codebook[:5].clone()
    assert tracked.revive(codebook, below=0.1) == 3
    assert torch.equal(codebook[:5], alive)
    rows = features.movedim(1, -1).reshape(-1, 2)
    assert all((rows == code).all(1).any() for code in codebook[5:])
    # They are given time to find users.
    assert tracked.revive(codebook, below=0.1) == 0


def test_use_of_one_is_a_fair_share() -> None:
    tracked = tracker()
    tracked.observe(torch.arange(16).reshape(1, 4, 4) % 8, torch.zeros(1, 2, 4, 4))
    tracked.settle()
    torch.testing.assert_close(tracked.use_K, torch.ones(8))
    tracked.observe(torch.zeros(1, 4, 4, dtype=torch.int64), torch.zeros(1, 2, 4, 4))
    tracked.settle()
    torch.testing.assert_close(tracked.use_K, torch.tensor([0.5 + 4.0, *[0.5] * 7]))


def test_pieces_of_a_step_count_as_one_batch() -> None:
    whole, pieces = tracker(), tracker()
    codes, features = torch.arange(32).reshape(2, 4, 4) % 3, torch.rand(2, 2, 4, 4, generator=tiny.generator())
    whole.observe(codes, features)
    for row in range(2):
        pieces.observe(codes[row : row + 1], features[row : row + 1])
    books = torch.zeros(2, 8, 2)
    for tracked, book in zip((whole, pieces), books, strict=True):
        tracked.settle()
        torch.manual_seed(0)
        tracked.revive(book, below=0.6)
    torch.testing.assert_close(whole.use_K, pieces.use_K)
    assert torch.equal(books[0], books[1])


def test_revivals_keep_the_codebook_in_use(tmp_path: Any) -> None:
    """Without them most codes of a young codebook are never used again."""
    usage = []
    for every in (10_000, 5):
        task = tiny.vqgan_task(restart_every=every, restart_below=0.2)
        task.tracker.decay = 0.7
        model = fit(
            task, tiny.train_settings(25, validate_every=1000, checkpoint_every=1000), tmp_path / str(every), "f"
        )
        with torch.no_grad():
            usage.append(task.validate(model, CPU).metrics["usage"])
    assert usage[0] < 0.3
    assert usage[1] > usage[0] + 0.2


def test_revivals_end_when_they_should() -> None:
    task = tiny.vqgan_task(restart_every=2, restart_until=5)
    revived: list[int] = []
    task.tracker.revive = lambda *_: revived.append(step)  # type: ignore[method-assign, assignment, func-returns-value]
    for step in range(12):
        task.after_step(step)
    assert revived == [1, 3, 5]


def test_the_discriminator_joins_at_its_step() -> None:
    task = tiny.vqgan_task(adversarial_from=3)
    assert [phase.optimizer for phase in phases(task, 2)] == ["model"]
    model, discriminator = phases(task, 3)
    assert (model.optimizer, discriminator.optimizer) == ("model", "discriminator")
    assert {"adversarial", "adaptive_weight"} <= model.metrics.keys()
    assert 0 < float(model.metrics["adaptive_weight"]) <= 1e4
    # The discriminator's loss must not reach the model.
    task.modules.zero_grad()
    discriminator.loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in task.model.parameters())
    # But for the last bias, whose pushes by real and fake cancel.
    assert all(p.grad is not None and p.grad.any() for p in list(task.discriminator.parameters())[:-1])


def test_the_discriminator_is_still_until_then(tmp_path: Any) -> None:
    task = tiny.vqgan_task(adversarial_from=3)
    before = [p.detach().clone() for p in task.discriminator.parameters()]
    fit(task, tiny.train_settings(3), tmp_path, "f")
    assert all(torch.equal(a, b) for a, b in zip(before, task.discriminator.parameters(), strict=True))
    fit(task := tiny.vqgan_task(adversarial_from=3), tiny.train_settings(4), tmp_path, "f")
    assert not any(torch.equal(a, b) for a, b in list(zip(before, task.discriminator.parameters(), strict=True))[:-1])


def test_losses_followed_back_have_the_gradients_of_the_plain_ones() -> None:
    task = tiny.vqgan_task(adversarial_from=0, codebook_weight=0.0, commitment_weight=0.0, perceptual="edges")
    batch = task.batch(4, tiny.generator())
    task.model.eval()  # no dropout
    phase, _ = task.phases(batch, 0)
    found = torch.autograd.grad(phase.loss, list(task.model.decoder.parameters()))
    reconstruction = task.model(batch).reconstruction_BCHW
    fidelity, _ = task._fidelity(reconstruction, batch)
    weight = float(phase.metrics["adaptive_weight"]) * task.loss_config.adversarial_weight
    plain = fidelity - weight * task.discriminator(reconstruction).mean()
    torch.testing.assert_close(phase.loss, plain)
    for one, other in zip(found, torch.autograd.grad(plain, list(task.model.decoder.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_the_classifier_s_distance_counts_by_its_weight(tmp_path: Any) -> None:
    config = ClassifierConfig(modality="image", width=8)
    save_classifier(tmp_path, build_classifier(config, tiny.LAYOUT, 3), config, tiny.LAYOUT, ["a", "b", "c"])
    first, double = (tiny.vqgan_task(classifier=tmp_path, classifier_weight=weight) for weight in (1.0, 2.0))
    double.model.load_state_dict(first.model.state_dict())
    batch = first.batch(4, tiny.generator())
    first.model.eval(), double.model.eval()  # no dropout
    (one,), (two,) = first.phases(batch, 0), double.phases(batch, 0)
    assert one.metrics["classified"].item() > 0
    torch.testing.assert_close(two.loss - one.loss, one.metrics["classified"])


def test_the_adaptive_weight_balances_both_gradients() -> None:
    task = tiny.vqgan_task(adversarial_from=0)
    batch = task.batch(4, tiny.generator())
    reconstruction = task.model(batch).reconstruction_BCHW
    fidelity, judged = F.l1_loss(reconstruction, batch), -task.discriminator(reconstruction).mean()
    weight = task._adaptive_weight(task._last_gradients(fidelity, judged))
    last = task.model.decoder.last_layer
    norms = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (fidelity, weight * judged)]
    assert float(norms[1]) == pytest.approx(float(norms[0]), rel=0.05)


def test_a_decoder_alone_learns_without_changing_a_token(tmp_path: Any) -> None:
    task = tiny.vqgan_task(restart_every=1, restart_below=10.0, adversarial_from=0)
    freeze(task.model, ["encoder", "quant_conv", "quantize"])
    pictures = task.valid.take(torch.arange(len(task.valid)), None)
    before, tokens = {k: v.clone() for k, v in task.model.state_dict().items()}, task.model.eval().encode(pictures)
    trained = fit(task, tiny.train_settings(4, weight_decay=0.1), tmp_path, "f")
    changed = {
        name.split(".")[0] for name, value in trained.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"decoder", "post_quant_conv"}
    assert torch.equal(trained.encode(pictures).indices, tokens.indices)


@pytest.mark.parametrize(("real", "fake", "expected"), [(2.0, -2.0, 0.0), (0.0, 0.0, 1.0), (-1.0, 3.0, 3.0)])
def test_hinge_loss(real: float, fake: float, expected: float) -> None:
    assert float(hinge_loss(torch.full((2, 3), real), torch.full((2, 3), fake))) == pytest.approx(expected)


def test_edge_distance_sees_edges_and_not_levels() -> None:
    pictures = torch.rand(2, 1, 16, 16, generator=tiny.generator()) - 0.5
    assert float(edge_distance(pictures, pictures)) == 0.0
    assert float(edge_distance(pictures, pictures + 0.3)) == pytest.approx(0.0, abs=1e-6)
    blurred = F.avg_pool2d(pictures, 3, 1, 1)
    assert float(edge_distance(pictures, blurred)) > 0.1
    assert float(no_perceptual(pictures, blurred)) == 0.0


def test_validation_measures_the_plain_images() -> None:
    task = tiny.vqgan_task()
    model = task.model.eval()
    with torch.no_grad():
        found = task.validate(model, CPU)
        pictures = task.valid.take(torch.arange(len(task.valid)), None)
        indices = model.encode(pictures).indices
        error = model.decode(indices).clamp(-1, 1) - pictures
    assert found.metrics["l1"] == pytest.approx(float(error.abs().mean()), rel=1e-4)
    assert found.metrics["psnr_db"] == pytest.approx(float(10 * torch.log10(4 / error.square().mean())), rel=1e-4)
    assert found.metrics["usage"] == len(indices.unique()) / 32
    assert found.images["original_and_reconstruction"].shape == (32, 16 * 16, 1)


def test_a_collapsed_codebook_raises_an_alarm() -> None:
    task = tiny.vqgan_task()
    task.model.quantize.embedding.weight.data[1:] = 1e6
    with torch.no_grad():
        found = task.validate(task.model.eval(), CPU)
    assert found.metrics["perplexity"] == pytest.approx(1.0)
    assert found.alarms == ["only 3% of the codebook is in use; lower restart_every, codes or learning_rate"]


def test_training_lowers_the_loss(tmp_path: Any) -> None:
    task = tiny.vqgan_task()
    with torch.no_grad():
        before = task.validate(task.model.eval(), CPU).metrics["l1"]
    model = fit(
        task, tiny.train_settings(40, learning_rate=3e-3, validate_every=100, checkpoint_every=100), tmp_path, "f"
    )
    with torch.no_grad():
        assert task.validate(model, CPU).metrics["l1"] < 0.6 * before


@pytest.mark.parametrize(
    "changes", [{"perceptual": "lpips"}, {"restart_every": 0}, {"adversarial_limit": 0}, {"gan": 1}]
)
def test_refuses_unfit_losses(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VQGANLoss.model_validate(changes)
