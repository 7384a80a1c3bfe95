"""Billing: what was used becomes lines, lines become invoices, and invoices reach Stripe."""
