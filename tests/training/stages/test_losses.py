import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from torch.nn import functional

from training.stages.losses import IdentityClassifier, LinearClassifier, TeacherVectors, TripletLoss


def triplets(count=40, dimension=6):
    """(3, count, dimension) unit vectors, positives near enough that both sides of the hinge occur."""
    generator = torch.Generator().manual_seed(0)
    query, positive, negative = torch.randn(3, count, dimension, dtype=torch.float64, generator=generator)
    return [functional.normalize(vectors, dim=1) for vectors in (query, query + 0.6 * positive, query + negative)]


@pytest.mark.parametrize("margin", [0.1, 0.5])
def test_the_ranking_loss_is_the_papers_formula(margin):
    query, positive, negative = triplets()
    expected = []
    for q, p, n in zip(query.numpy(), positive.numpy(), negative.numpy(), strict=True):
        near, far = np.linalg.norm(q - p) ** 2, np.linalg.norm(q - n) ** 2
        expected.append(0.5 * max(0.0, margin + near - far))
    losses, agreed = TripletLoss(margin)(query, positive, negative)
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-12, atol=1e-15)
    assert 0 < sum(loss == 0 for loss in expected) < len(expected), "both sides of the hinge"
    dots = (query * positive).sum(1) > (query * negative).sum(1)
    assert torch.equal(agreed, dots)


def test_on_unit_vectors_it_is_a_margin_of_dot_products():
    query, positive, negative = triplets()
    losses, _ = TripletLoss(0.1)(query, positive, negative)
    dots = (0.05 + (query * negative).sum(1) - (query * positive).sum(1)).clamp_min(0)
    torch.testing.assert_close(losses, dots, rtol=1e-12, atol=1e-14)


def test_its_gradient_is_that_of_finite_differences():
    # Not of unit length: the formula must hold for what the network gives, not for what the identity allows.
    streams = [(vectors * 1.3).requires_grad_() for vectors in triplets(count=12, dimension=4)]
    loss = TripletLoss(0.1)
    assert torch.autograd.gradcheck(lambda *three: loss(*three)[0], streams, eps=1e-6, atol=1e-7)
    flat = torch.cat([vectors.reshape(-1) for vectors in streams]).detach()
    sizes = [vectors.numel() for vectors in streams]

    def total(values):
        three = [part.reshape(12, 4) for part in values.split(sizes)]
        return loss(*three)[0].sum()

    total(flat.requires_grad_()).backward()
    step = 1e-6
    for index in range(0, len(flat), 7):
        ahead = flat.detach().clone()
        behind = ahead.clone()
        ahead[index] += step
        behind[index] -= step
        slope = (total(ahead) - total(behind)) / (2 * step)
        assert flat.grad[index].item() == pytest.approx(slope.item(), abs=1e-8)


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


def test_the_linear_classifier_is_cross_entropy_of_products_and_lengths_count():
    classifier = LinearClassifier(2, 3, label_smoothing=0.3).double()
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    vectors = torch.tensor([[3.0, 1.0], [0.5, 0.2]], dtype=torch.float64)
    logits = np.array([[3.0, 2.0, 4.0], [0.5, 0.4, 0.7]])
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = 0.3 / 3 + 0.7 * np.eye(3)[[2, 0]]
    loss, accuracy = classifier(vectors, torch.tensor([2, 0]))
    assert loss.item() == pytest.approx(-(targets * logs).sum(axis=1).mean(), rel=1e-12)
    assert accuracy.item() == 0.5


def test_a_teachers_loss_is_one_less_the_cosine_to_the_row_that_is_asked_for():
    teacher = TeacherVectors(torch.eye(3))
    loss, cosine = teacher(torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]), torch.tensor([1, 2]))
    assert cosine.item() == pytest.approx(0.9)
    assert loss.item() == pytest.approx(0.1)
    assert not teacher.state_dict()
