"""What is known of a deployment, as data. Imports nothing of unfrag's."""
