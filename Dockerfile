# A machine with clusterray, POV-Ray and Mitsuba (Blender would take 1 GB more), for server, node and client alike. Not seen running where this was written.
#
#   docker build -t clusterray .
#   docker run --rm clusterray demo
FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && python3 -m venv /opt/clusterray
COPY . /src
RUN rm -rf /src/build && cd /src && /opt/clusterray/bin/pip install --no-cache-dir -c misc/constraints.txt '.[all]'

FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 povray povray-includes libatomic1 bubblewrap tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --home-dir /var/lib/clusterray --shell /usr/sbin/nologin clusterray \
 && install -d -o clusterray -g clusterray /data
COPY --from=build /opt/clusterray /opt/clusterray
RUN ln -s /opt/clusterray/bin/clusterray /opt/clusterray/bin/client.py /usr/local/bin/
USER clusterray
ENV CLUSTERRAY_DATA=/data
VOLUME /data
EXPOSE 5007 3457 3458-3557
# tini reaps what renderers leave behind. Bubblewrap needs user namespaces, which most container engines refuse by default:
# a node then runs the built-in render kinds only, and `clusterray nodes` shows it as unconfined.
ENTRYPOINT ["tini", "--", "clusterray"]
CMD ["server", "foreground"]
