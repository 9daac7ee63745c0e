# One image for every room: `docker run twofold gateway`. Packages come from the lock, hashes checked.
FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/twofold \
    && /opt/twofold/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md ./
# The rooms, and the links that make them one package: COPY keeps links as they are.
COPY kernel kernel
COPY database database
COPY client client
COPY shop shop
COPY eventstore eventstore
COPY bus bus
COPY monitoring monitoring
COPY subscriptions subscriptions
COPY workers workers
COPY processes processes
COPY readmodels readmodels
COPY gateway gateway
COPY twofold twofold
COPY src src
RUN /opt/twofold/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home twofold
COPY --from=build /opt/twofold /opt/twofold
ENV PATH=/opt/twofold/bin:$PATH PYTHONUNBUFFERED=1
USER twofold
WORKDIR /home/twofold
ENTRYPOINT ["twofold"]
