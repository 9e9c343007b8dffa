"""What record.py is made of: the services, and Envoy."""
