//! What it costs to come from the head of a request to its route and its fields for the server, as each request does.
//! `find` is the route alone: the routes differ by host and path, or in what the name says. Requests come in random
//! order. `target` and `fields` do not depend on routes.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringgate_config::{FieldCondition, HttpRoute, NamePattern, Network, PathPattern, Stages};
use ringgate_gateway::aim::{Asked, Routes};
use ringgate_gateway::fields::Fields;
use ringgate_gateway::forwarded::{
    Facts, Received, RequestIds, check_connection, prepare_request, request_id,
};
use ringgate_gateway::host::{Host, Scheme};
use ringgate_gateway::target::Target;

/// The route of a number.
type MakesRoute = fn(usize) -> HttpRoute;

fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http_route");
    for size in [10, 1000, 4096] {
        let routes: Vec<HttpRoute> = (0..size).map(by_host_and_path).collect();
        let requests: Vec<Request> = (0..size).map(|number| Request::new(number, None)).collect();
        group.bench_function(BenchmarkId::new("find", size), |bencher| {
            let (routes, mut random) = (Routes::new(&routes), 1_u32);
            bencher.iter(|| routes.find(&draw(&requests, &mut random).asked()));
        });
        let by: [(&str, MakesRoute); 4] = [
            ("by_field", by_field),
            ("by_parameter", by_parameter),
            ("by_method", by_method),
            ("by_client", by_client),
        ];
        for (name, route) in by {
            let routes: Vec<HttpRoute> = (0..size).map(route).collect();
            let with_all = |number| Request::new(0, Some(number));
            let requests: Vec<Request> = (0..size).map(with_all).collect();
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                let (routes, mut random) = (Routes::new(&routes), 1_u32);
                bencher.iter(|| routes.find(&draw(&requests, &mut random).asked()));
            });
        }
    }
}

fn head(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http_head");
    for (name, target) in [
        ("canonical", "/api/v1/orders/1234567?fields=a,b"),
        ("rebuilt", "/api/./v1//orders/%31234567?fields=a,b"),
    ] {
        group.bench_function(BenchmarkId::new("target", name), |bencher| {
            bencher.iter(|| {
                let target = Target::parse(black_box(target.as_bytes()), "GET");
                let host = Host::parse(black_box(b"orders.example.com:8080"));
                target.is_ok() && host.is_ok()
            });
        });
    }
    let request = Request::new(0, None);
    let mut ids = RequestIds::new();
    let mut fields = Fields::default();
    group.bench_function("fields", |bencher| {
        bencher.iter(|| {
            fields.clone_from(&request.fields);
            let id = request_id(&fields, false, &mut ids);
            let facts = Facts {
                received: Received::Http11,
                scheme: Scheme::Http,
                host: &request.host,
                port: Some(8080),
                peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                is_peer_trusted: false,
                request_id: id.as_bytes(),
                consumer: None,
                is_authorization_ours: true,
                options: check_connection(&fields).unwrap_or_default(),
            };
            prepare_request(&mut fields, &facts);
        });
    });
}

struct Request {
    host: String,
    path: String,
    fields: Fields,
    query: Option<String>,
    method: String,
    client: Option<IpAddr>,
}

impl Request {
    fn new(number: usize, tenant: Option<usize>) -> Self {
        let host = host(number);
        let mut fields = Fields::default();
        for (name, value) in [
            ("host", &*host),
            ("user-agent", "bench/1.0"),
            ("accept", "application/json"),
            ("accept-encoding", "gzip, br"),
            ("authorization", "Bearer 0123456789abcdef"),
            ("connection", "keep-alive"),
        ] {
            fields.push(name, value.as_bytes());
        }
        if let Some(tenant) = tenant {
            fields.push("x-tenant", tenant.to_string().as_bytes());
        }
        let path = format!("{}/orders/1234567", under(number));
        Self {
            host,
            path,
            fields,
            query: tenant.map(tenant_query),
            method: tenant.map_or("GET".to_owned(), |tenant| format!("M{tenant}")),
            client: tenant.map(|tenant| network(tenant).first),
        }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            sni: None,
            client: self.client,
            host: &self.host,
            path: &self.path,
            method: &self.method,
            fields: &self.fields,
            is_peer_trusted: false,
            query: self.query.as_deref(),
        }
    }
}

/// Eight routes for each host.
fn host(number: usize) -> String {
    format!("host-{}.example.com", number / 8)
}

fn under(number: usize) -> String {
    format!("/api/service-{}", number % 8)
}

fn by_host_and_path(number: usize) -> HttpRoute {
    HttpRoute {
        host: vec![NamePattern::Exact(host(number))],
        path: vec![PathPattern::Under(under(number))],
        ..any()
    }
}

fn tenant_query(tenant: usize) -> String {
    format!("page=7&tenant={tenant}&fields=a,b")
}

fn network(number: usize) -> Network {
    let [high, low] = (number as u16).to_be_bytes();
    let first = IpAddr::V4(Ipv4Addr::new(10, high, low, 0));
    Network { first, prefix: 24 }
}

fn by_parameter(number: usize) -> HttpRoute {
    let condition = FieldCondition {
        name: "tenant".into(),
        value: Some(number.to_string()),
    };
    HttpRoute {
        query: vec![condition],
        ..any()
    }
}

fn by_method(number: usize) -> HttpRoute {
    HttpRoute {
        methods: vec![format!("M{number}")],
        ..any()
    }
}

fn by_client(number: usize) -> HttpRoute {
    HttpRoute {
        client: vec![network(number)],
        ..any()
    }
}

fn by_field(number: usize) -> HttpRoute {
    let condition = FieldCondition {
        name: "x-tenant".into(),
        value: Some(number.to_string()),
    };
    HttpRoute {
        headers: vec![condition],
        ..any()
    }
}

fn any() -> HttpRoute {
    HttpRoute {
        name: String::new(),
        sni: Vec::new(),
        client: Vec::new(),
        host: Vec::new(),
        path: Vec::new(),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        pools: Vec::new(),
        rewrite: None,
        stages: Stages::default(),
    }
}

fn draw<'a>(requests: &'a [Request], random: &mut u32) -> &'a Request {
    *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    &requests[(*random >> 16) as usize % requests.len()]
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = short(); targets = find, head }
criterion_main!(benches);
