// A server by Node: `server.js HOST PORT 1` speaks HTTP/1.1, `server.js HOST PORT 2` HTTP/2 without TLS. It answers with
// what it was sent: the path, the body, or as many bytes as the path asks for.

const [host, port, version] = process.argv.slice(2);
const { createServer } = require(version === "2" ? "node:http2" : "node:http");

function answer(request, response) {
  const path = request.url.split("?")[0];
  if (request.method === "POST" || request.method === "PUT") {
    request.pipe(response);
  } else if (path.startsWith("/bytes/")) {
    response.end(Buffer.alloc(Number(path.slice("/bytes/".length)), "x"));
  } else if (path === "/chunked") {
    response.write("one");
    response.write("two");
    response.end("three");
  } else {
    response.end(request.url);
  }
}

createServer(answer).listen(Number(port), host);
