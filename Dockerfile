# The gateway: its modules, its packages and what browsers load, on Deno without a shell. It runs as nobody in particular, writes
# nothing, and needs DATABASE_URL and one of the TIDINGS_JWT settings.
ARG DENO_VERSION=2.9.6

FROM denoland/deno:${DENO_VERSION} AS build
WORKDIR /build
# the packages change less often than the program
COPY deno.json deno.lock ./
RUN deno install --frozen
COPY LICENSE ./
COPY src src
COPY sql sql
RUN deno task build
RUN deno run -A src/image.ts /app

FROM denoland/deno:distroless-${DENO_VERSION}
WORKDIR /app
COPY --from=build /app /app
ENV DENO_DIR=/app/.deno
ENV DENO_NO_UPDATE_CHECK=1
ENV HOST=0.0.0.0
ENV PORT=8080
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["deno", "run", "--no-prompt", "--cached-only", "--frozen", "--node-modules-dir=manual", "--allow-net", "--allow-env", "--allow-read=/run/secrets", "/app/src/cli.ts", "health"]
# without a shell or an init in between, so that SIGTERM reaches it
ENTRYPOINT ["deno", "run", "--no-prompt", "--cached-only", "--frozen", "--node-modules-dir=manual", "--allow-net", "--allow-env", "--allow-read=/app/sql,/app/dist,/run/secrets", "/app/src/main.ts"]
