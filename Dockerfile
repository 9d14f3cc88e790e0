# One image for api, worker and migrate: `docker build -t form-state .`
FROM python:3.11-slim-bookworm AS build
WORKDIR /app
COPY requirements-runtime.lock ./
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r requirements-runtime.lock

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home formstate
WORKDIR /app
COPY --from=build /venv /venv
COPY domain ./domain
COPY eventstore ./eventstore
COPY projections ./projections
COPY telemetry ./telemetry
COPY worker ./worker
COPY api ./api
RUN /venv/bin/python -m compileall -q .
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 FORMSTATE_HOST=0.0.0.0 FORMSTATE_PORT=8000
USER formstate
EXPOSE 8000
# Exec form: SIGTERM reaches the process, which lets open streams settle before it ends.
CMD ["python", "-m", "api"]
