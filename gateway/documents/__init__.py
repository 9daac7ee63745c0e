"""What the gateway says about itself: OpenAPI, AsyncAPI and the pages, made from the domain and the types it answers with."""
