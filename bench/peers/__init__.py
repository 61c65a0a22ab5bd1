"""What we are compared with: the seed's stack in Node, and the same libraries used plainly."""
