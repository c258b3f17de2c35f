"""What the tests stand on: images, a fixture app, a private nginx, a private host, and an honest load client."""
