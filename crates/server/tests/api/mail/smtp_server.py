"""A mail server for tests. Announces its port, then what happens, one JSON object per line.

What a recipient's name begins with decides about its mail: gone (unknown), full, policy (refused for
ever), busyN (refused for now, N times), slow (the answer takes two seconds), any other (taken).
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

tls, port, certificate, key = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]


def say(**what):
    print(json.dumps(what), flush=True)


class Handler:
    def __init__(self):
        self.refusals = {}

    async def handle_RCPT(self, server, session, envelope, address, options):
        say(event="recipient", address=address)
        name = address.split("@")[0].lower()
        if name.startswith("gone"):
            return "550 5.1.1 No such user"
        if name.startswith("full"):
            return "552 5.2.2 Mailbox full"
        if name.startswith("policy"):
            return "550 5.7.1 Relaying denied"
        if name.startswith("busy"):
            self.refusals[address] = self.refusals.get(address, 0) + 1
            if self.refusals[address] <= int(name[4:]):
                return "451 4.7.1 Greylisted, try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = lambda kind: mail.get_body((kind,)).get_content()
        say(
            event="mail",
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            tls=session.ssl is not None or tls == "implicit",
            login=session.auth_data and session.auth_data.login.decode(),
            headers=[[name, str(value)] for name, value in mail.items()],
            lines=max(len(line) for line in envelope.content.splitlines()),
            text=part("plain"),
            html=part("html"),
        )
        if envelope.rcpt_tos[0].startswith("slow"):
            await asyncio.sleep(2)
        return "250 OK"


def login(server, session, envelope, mechanism, data):
    if not isinstance(data, LoginPassword) or data.password != b"s3cret":
        return AuthResult(success=False, handled=False)
    return AuthResult(success=True, auth_data=data)


async def main():
    context = None
    if tls != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    handler = Handler()

    def connected():
        say(event="connection")
        return SMTP(
            handler,
            hostname="mail.test",
            tls_context=context if tls == "upgraded" else None,
            authenticator=login,
            auth_require_tls=tls == "upgraded",
        )

    server = await asyncio.get_running_loop().create_server(
        connected, "127.0.0.1", port, ssl=context if tls == "implicit" else None
    )
    say(event="listening", port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
