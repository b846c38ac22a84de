import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from torch.nn import functional

from training.losses import IdentityClassifier


@pytest.mark.parametrize(("margin", "smoothing"), [(0.0, 0.0), (0.2, 0.0), (0.2, 0.1)])
def test_the_loss_is_cross_entropy_over_scaled_cosines_less_the_margin(margin, smoothing):
    torch.manual_seed(0)
    classifier = IdentityClassifier(5, 4, scale=16.0, margin=margin, label_smoothing=smoothing).double()
    embeddings = functional.normalize(torch.randn(6, 5, dtype=torch.float64), dim=1)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    expected = []
    for embedding, label in zip(embeddings, labels, strict=True):
        logits = []
        for identity, direction in enumerate(classifier.directions):
            cosine = (embedding @ direction) / direction.norm()
            logits.append(16.0 * (cosine - (margin if identity == label else 0.0)))
        probabilities = torch.stack(logits).exp() / torch.stack(logits).exp().sum()
        target = torch.full((4,), smoothing / 4, dtype=torch.float64)
        target[label] += 1 - smoothing
        expected.append(-(target * probabilities.log()).sum())
    loss, _ = classifier(embeddings, labels)
    assert loss.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-12)


def test_accuracy_ignores_the_margin():
    classifier = IdentityClassifier(2, 2, scale=10.0, margin=5.0, label_smoothing=0.0)
    with torch.no_grad():
        classifier.directions.copy_(torch.eye(2))
    _, accuracy = classifier(torch.eye(2), torch.tensor([0, 0]))
    assert accuracy.item() == 0.5
