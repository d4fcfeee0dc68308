//! The kinds of texts that keys about HTTP take: scopes, paths, names of fields. Each is told once, for mistakes, the
//! reference and the schema; what makes a text one of its kind is checked in value/.

use crate::key::Text;

pub(crate) static SCOPE: Text = Text {
    noun: "scope",
    one: "a scope, such as orders.read",
    many: "scopes, such as [orders.read, orders.write]",
    pattern: r"^[!#-+\--\[\]-~]{1,128}$",
};

pub(crate) static REALM_TEXT: Text = Text {
    noun: "text",
    one: "a text that clients are shown, such as \"the shop\"",
    many: "texts",
    pattern: r#"^[ !#-\[\]-~]{1,128}$"#,
};

pub(crate) static IDENTITY: Text = Text {
    noun: "name",
    one: "a name as it stands in tokens, such as https://login.example.com",
    many: "names as they stand in tokens, such as [orders, https://api.example.com]",
    pattern: r"^[^\x00-\x1f\x7f]{1,1024}$",
};

pub(crate) static CLAIM: Text = Text {
    noun: "claim",
    one: "the name of a claim, such as sub",
    many: "names of claims",
    pattern: r"^[^\x00-\x1f\x7f]{1,256}$",
};

pub(crate) static KEYS_PLACE: Text = Text {
    noun: "absolute path or URL",
    one: "the absolute path of a file, or a URL such as https://login.example.com/keys.json",
    many: "files and URLs",
    pattern: "^(/|https?://)",
};

pub(crate) static TARGET: Text = Text {
    noun: "`https`, URL or absolute path",
    one: "`https`, a URL such as \"https://b.example.com$path$query\", or a path such as /new",
    many: "URLs",
    pattern: "^(https$|https?://[!-~]+$|/)",
};

pub(crate) static COUNTED_BY: Text = Text {
    noun: "`client_ip`, `consumer` or `header:NAME`",
    one: "`client_ip`, `consumer`, or `header:` and the name of a field, such as header:x-api-key",
    many: "names",
    pattern: "^(client_ip|consumer|header:.+)$",
};

pub(crate) static PATH_PATTERN: Text = Text {
    noun: "path",
    one: "a path, such as /login, or /admin/* for it and all that is under it",
    many: "paths, such as [/login, /admin/*]",
    pattern: r"^/[!-~]*$",
};

pub(crate) static METHOD: Text = Text {
    noun: "method",
    one: "a method, such as GET",
    many: "methods, such as [GET, POST]",
    pattern: r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$",
};

pub(crate) static FIELD: Text = Text {
    noun: "field",
    one: "the name of a field, such as x-version",
    many: "names of fields, such as [x-powered-by, server]",
    pattern: r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$",
};

pub(crate) static SET_FIELDS: Text = Text {
    noun: "field",
    one: "names of fields with a value each, such as { x-frame-options: DENY }",
    many: "names of fields with a value each, such as { x-frame-options: DENY }",
    pattern: FIELD.pattern,
};

pub(crate) static FIELD_CONDITIONS: Text = Text {
    noun: "field",
    one: "names of fields with a value each, such as { x-version: \"2\", x-flag: \"*\" }",
    many: "names of fields with a value each, such as { x-version: \"2\", x-flag: \"*\" }",
    pattern: FIELD.pattern,
};

pub(crate) static PARAMETER_CONDITIONS: Text = Text {
    noun: "parameter",
    one: "names of parameters with a value each, such as { version: \"2\", debug: \"*\" }",
    many: "names of parameters with a value each, such as { version: \"2\", debug: \"*\" }",
    pattern: "^[!-\"$%'-<>-~]{1,256}$",
};
