"""The pages of the application in a real browser."""
