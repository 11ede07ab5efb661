"""The services of Sora on Ray, deployed with Ray Serve."""
