"""The bus on RabbitMQ: publisher, transport and bell."""
