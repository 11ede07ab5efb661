"""Webhooks: which URLs hear of which ends, and events on their way to them; durable, signed, tried again."""
