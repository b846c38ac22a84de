"""What a model file says of itself: format, contract, self-test record, digests."""
