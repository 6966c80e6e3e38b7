"""What is put into requests: each of these has broken a server somewhere."""

# fmt: off
TOKENS = (
    # control characters, as they are and encoded
    b"\x00", b"%00", b"\\u0000", b"\r\n", b"\n", b"\r", b"%0d%0a", b"\r\n\r\n", b"\t", b"\x0b",
    b"\x1b[31m", b"\x7f",
    # what is no UTF-8, or only nearly
    b"\x80", b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf",
    b"%ff", b"%c0%af", b"%u0041", b"\\ud800", b"\\udc00\\ud800",
    # letters that are compared, folded or shown in surprising ways
    "\u202e".encode(), "\u2028".encode(), "\U0001f600".encode(), "\u0131".encode(), "\u00df".encode(),
    # numbers
    b"-1", b"0", b"2147483648", b"9223372036854775808", b"9" * 5_000, b"1e400", b"-0.0", b"NaN",
    b"Infinity",
    # JSON
    b"null", b"true", b"{}", b"[]", b'""', b"[" * 2_000, b'{"a":' * 500, b'"', b"\\", b",", b":",
    # paths, forms, addresses
    b"..", b"/", b"//", b"/./", b"%2f", b"%2e%2e/", b";", b"?", b"#", b"&", b"=", b"+", b"%", b"%%",
    b"*", b" ", b"  ", b"http://evil.example/", b"user@evil.example", b"[::1]", b"evil.example:99999",
    # other languages
    b"'", b"`", b"<!--", b"{0.__class__}", b"%s%n", b"' OR 1=1--", b"${jndi:x}",
)

HEADER_LINES = (
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding:",
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: +5",
    b"Content-Length: 1e3", b"Content-Length: 5, 5", b"Content-Length:", b"Content-Length: 99999999",
    b"Content-Length: 18446744073709551616",
    b"Host: evil.example", b"Host:", b"Host: a b", b"Host: [::1",
    b"X-Forwarded-For: 127.0.0.1", b"X-Forwarded-Host: evil.example", b"Forwarded: for=127.0.0.1",
    b"Authorization: Bearer x", b"Authorization: Basic YTpi", b"Authorization:", b"Cookie: token=x",
    b"Connection: close", b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket",
    b"Connection: Upgrade\r\nUpgrade: h2c", b"Expect: 100-continue", b"Expect: nonsense",
    b"Content-Type: text/plain", b"Content-Type: application/json; charset=utf-16", b"Content-Type:",
    b"Content-Type: multipart/form-data; boundary=x", b"Content-Type: ;;", b"Content-Encoding: gzip",
    b"X-Request-ID: \x1b[31m", b'X-Request-ID: ","level":"fatal', b"X-Request-ID: \xff",
    b"X-Request-ID:", b"X-Request-ID: " + b"x" * 200, b"X-Request-ID:  \t a \t ",
    b"Origin: null", b"Range: bytes=0-,0-,0-", b"Accept: " + b"*/*;q=0.1," * 900,
    b"X-HTTP-Method-Override: DELETE",
    b" folded: line", b"\tfolded", b"no colon", b": no name", b"na me: x", b"n\xc3\xa4me: x",
    b"x: \x00", b"x: a\rb",
)

# Of a Content-Type: those of RFC 2231 first.
PARAMETERS = (
    b"; charset*=%00''x", b"; charset*0=x; charset*=utf-8''y", b"; charset*" + b"1" * 5_000 + b"=x",
    b"; charset*=utf-8''utf-8", b"; a*0*='; a*=''", b"; boundary*=%00''x", b"; charset*1=x",
    b'; charset="utf-8', b'; charset="\\u"', b"; charset=utf-8; charset=utf-16", b"; charset", b"; =", b";" * 500,
    b"; charset=\xff", b"; charset='utf-8'", b"; boundary=x", b" ; charset = utf-8", b", text/plain",
)

METHODS = (
    b"HEAD", b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"FOO",
    b"get", b"PRI", b"",
)
VERSIONS = (
    b"HTTP/1.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.1.1", b"http/1.1",
    b"ICE/1.0", b"",
)
LINE_ENDS = (b"\n", b"\r", b"\r\r\n", b"\n\r")
LENGTHS = (b"0", b"1", b"7", b"99", b"4000", b"000", b"-1", b"0x10", b"1_0", b"9" * 30)
# In chunked bodies; what is right comes more than once, so that it comes more often.
CHUNK_SIZES = (b"", b"-1", b"0x4", b"g", b"f" * 17, b"7fffffff", b"1", b"ff")
CHUNK_EXTENSIONS = (b"", b"", b"", b"", b";a=b", b';a="\r\n"', b" ", b";" + b"x" * 300)
CHUNK_ENDS = (b"0\r\n\r\n",) * 3 + (b"0\r\nHost: evil\r\n\r\n", b"00000\r\n\r\n", b"0\n\n", b"")
FILLINGS = (b"x", b" ", b"[", b'{"a":', b"&a=b", b"\xff")
# fmt: on
