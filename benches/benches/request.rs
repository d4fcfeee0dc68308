//! What the heads of one exchange cost, from the bytes of a client to those for a server and back, without a socket, a
//! route or a clock: `request` and `response`, for the few fields of a load generator and for those of a browser.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringgate_gateway::forwarded::{
    Facts, Received, RequestIds, check_connection, prepare_request, prepare_response, request_id,
};
use ringgate_gateway::head::{
    HeadLimits, RequestHead, ResponseHead, Search, read_request, read_response,
};
use ringgate_gateway::host::{Host, Scheme};
use ringgate_gateway::target::Target;

const LIMITS: HeadLimits = HeadLimits {
    bytes: 32 * 1024,
    fields: 100,
};

const FEW: &str = "GET /v1/100 HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

const BROWSER: &str = "GET /v1/orders/1234567?fields=a,b HTTP/1.1\r\n\
    Host: api.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: application/json, text/plain, */*\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/orders/2026\r\n\
    Cookie: session=8d0f6c1b5a2e4f7390bd8c6a1e5f2d47; theme=dark; consent=yes\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=4\r\n\
    Connection: keep-alive\r\n\r\n";

const FEW_BACK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";

const SERVER: &str = "HTTP/1.1 200 OK\r\n\
    Server: app/2.1\r\n\
    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 512\r\n\
    Cache-Control: private, max-age=0\r\n\
    ETag: \"33a64df551425fcc55e4d42a148795d9\"\r\n\
    Vary: Accept-Encoding\r\n\
    Connection: keep-alive\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    for (name, bytes) in [("few", FEW), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("request", name), |bencher| {
            let (mut head, mut ids) = (RequestHead::default(), RequestIds::new());
            let mut out = Vec::new();
            bencher.iter(|| forward(black_box(bytes.as_bytes()), &mut head, &mut ids, &mut out));
            assert!(!out.is_empty(), "the request is a good one");
        });
    }
    for (name, bytes) in [("few", FEW_BACK), ("server", SERVER)] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("response", name), |bencher| {
            let (mut head, mut out) = (ResponseHead::default(), Vec::new());
            bencher.iter(|| back(black_box(bytes.as_bytes()), &mut head, &mut out));
            assert!(!out.is_empty(), "the response is a good one");
        });
    }
}

/// Makes of a client's head the one for a server; `None` when it is refused.
fn forward(
    bytes: &[u8],
    head: &mut RequestHead,
    ids: &mut RequestIds,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.clear();
    Search::default().find(bytes).ok()??;
    read_request(bytes, LIMITS, head).ok()?;
    let target = Target::parse(head.target.as_bytes(), &head.method).ok()?;
    let host = head.fields.named("host").next()?.to_vec();
    let host = Host::parse(&host).ok()?;
    let id = request_id(&head.fields, false, ids);
    let facts = Facts {
        received: Received::Http11,
        scheme: Scheme::Http,
        host: &host.text(),
        port: Some(8080),
        peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        is_peer_trusted: false,
        request_id: id.as_bytes(),
        consumer: None,
        is_authorization_ours: false,
        options: check_connection(&head.fields).ok()?,
    };
    prepare_request(&mut head.fields, &facts);
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    target.write(out);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    head.fields.write(out);
    Some(())
}

/// Makes of a server's head the one for the client; `None` when it is refused.
fn back(bytes: &[u8], head: &mut ResponseHead, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    Search::default().find(bytes).ok()??;
    read_response(bytes, LIMITS, "GET", head).ok()?;
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    prepare_response(
        &mut head.fields,
        b"0123456789abcdef0123456789abcdef",
        date,
        false,
    );
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    head.fields.write(out);
    Some(())
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = short(); targets = heads }
criterion_main!(benches);
