"""Services of docker compose and podman-compose."""
