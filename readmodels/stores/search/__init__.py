"""Rows that are searched for by their words: beside those of SQLite and PostgreSQL, or in OpenSearch and Elasticsearch."""
