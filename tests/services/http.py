"""One HTTP client for plain requests: httpx's own functions read all certificates of the world for each of them."""

import httpx

HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))
