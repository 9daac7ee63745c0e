# One image for every room: `docker run twofold gateway`. Packages come from the lock, hashes checked.
FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock ./
# What is installed has no installer in it: this stage's own puts packages there.
ENV PIP_PYTHON=/opt/twofold/bin/python PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /opt/twofold \
    && pip install --require-hashes --only-binary :all: -r requirements.lock
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
RUN pip install --no-deps --no-build-isolation . && pip uninstall --yes setuptools
# The replay under its name of 0.1.0, `python -m shop.online_retail`, which scripts may still say.
RUN cd "$(/opt/twofold/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && mkdir shop && ln -s ../twofold/shop/online_retail shop/online_retail

FROM python:3.13-slim
# No pip; and Python's own modules compiled once, not at every start and every look at a container's health.
RUN rm -rf "$(python -c 'import os, pip; print(os.path.dirname(pip.__file__))')" "$(python -c 'import os, ensurepip; print(os.path.dirname(ensurepip.__file__))')" \
    && { python -m compileall -q "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" || true; } \
    && groupadd --system --gid 10001 twofold && useradd --system --uid 10001 --gid 10001 --create-home twofold \
    && install --directory --owner=twofold --group=twofold /var/lib/twofold/provider
COPY --from=build /opt/twofold /opt/twofold
ENV PATH=/opt/twofold/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /home/twofold
ENTRYPOINT ["twofold"]
