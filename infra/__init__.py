"""What runs the house: set-up, images, Kubernetes, Prometheus, Grafana."""
