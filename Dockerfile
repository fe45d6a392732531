# freeu-search: docker build -t freeu-search . ; docker run -v "$PWD/mlruns:/results/mlruns" freeu-search run --trials 8
# On a GPU: docker build --build-arg TORCH=cu128 -t freeu-search . ; docker run --gpus all …
FROM python:3.12-slim

# The index of torch's wheels: cpu, or one for CUDA, as cu128.
ARG TORCH=cpu

RUN pip install --no-cache-dir uv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY search search
COPY freeu freeu
COPY metrics metrics
COPY configs configs
RUN uv pip install --system --no-cache --torch-backend "$TORCH" .

# A user of its own: what a container writes into a mounted folder is not root's. The hub's cache can be mounted, too.
RUN useradd --create-home freeu && mkdir /results && chown freeu /results
USER freeu
WORKDIR /results
VOLUME ["/results/mlruns", "/home/freeu/.cache/huggingface"]
EXPOSE 5000
ENTRYPOINT ["freeu-search"]
CMD ["--help"]
