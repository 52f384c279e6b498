"""Crafting adversarial images on the uint8 grid and replaying them on every target."""
