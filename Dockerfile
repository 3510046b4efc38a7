# The command with its models; --user lets it write into a folder of yours:
#   docker build -t visual-echoes .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" visual-echoes sound photo.jpg -o out
FROM python:3.11-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir build==1.6.1
COPY pyproject.toml README.md LICENSE ./
COPY LICENSES LICENSES
COPY src src
RUN python -m build --wheel --outdir /wheels

FROM python:3.11-slim
# torch's build for processors: the registry's own brings gigabytes of CUDA. For GPUs leave TORCH_INDEX empty.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /tmp/
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
    && pip install --no-cache-dir -c /tmp/constraints.txt "$(ls /wheels/*.whl)[credentials]" \
    && rm -r /wheels /tmp/constraints.txt \
    && useradd --create-home echoes
USER echoes
WORKDIR /work
ENTRYPOINT ["echoes"]
CMD ["--help"]
