"""People of one colour each on a grey street, and an appearance model that sees colours and counts crops."""

import numpy as np

COLOURS = np.array([(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)], dtype=np.float32)


class Colours:
    """(frame, boxes) -> one-hot rows: which of COLOURS the middle of a box is nearest to."""

    def __init__(self):
        self.crops = 0

    def __call__(self, frame, boxes):
        rows = np.zeros((len(boxes), len(COLOURS)), np.float32)
        for row, (left, top, right, bottom) in enumerate(np.asarray(boxes)):
            middle = frame[int((top + bottom) / 2), int((left + right) / 2)]
            rows[row, np.abs(COLOURS - middle).sum(axis=1).argmin()] = 1
        self.crops += len(boxes)
        return rows


def street(*places):
    """A frame, and the boxes of people: (colour, left) each, the last one nearest."""
    frame = np.full((240, 640, 3), 128, np.uint8)
    rng = np.random.default_rng(0)
    boxes = []
    for order, (colour, left) in enumerate(places):
        top = 60 + 4 * order
        noise = rng.integers(-30, 30, (128, 48, 1))  # a person has texture, or the crop is worth nothing
        person = (COLOURS[colour] + noise * np.where(np.arange(48) % 16 < 2, 4, 1)[None, :, None]).clip(0, 255)
        person[62:66] = COLOURS[colour]
        width = min(48, 640 - left)
        frame[top : top + 128, left : left + width] = person[:, :width].astype(np.uint8)
        boxes.append((left, top, left + 48, top + 128))
    return frame, np.array(boxes, dtype=np.float64).reshape(-1, 4)
