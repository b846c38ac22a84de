"""Images: decoding, the resize rules, boxes in frames."""
