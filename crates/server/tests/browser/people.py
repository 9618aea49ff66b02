"""Two people come to Ally360 by their mails: see script/browse. Arguments: the program, and where
screenshots go, if anywhere."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

from webdriver import Browser, call

PASSWORD = "una frase que nadie adivina"
ANA, LUZ = "ana@example.com", "luz@example.com"


class Server:
    """`ally360 dev` with a data directory of its own, where new users verify their address."""

    def __init__(self, program, directory):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("POSTGRES", "MINIO", "EMAIL", "DATABASE"))}
        environment["ENVIRONMENT"] = "test"
        arguments = [program, "dev", "--listen", "127.0.0.1:0", "--data-dir", f"{directory}/data"]
        self.log = pathlib.Path(directory, "log")
        self.process = subprocess.Popen(
            arguments, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=self.log.open("w"), text=True
        )
        ready = self.process.stdout.readline().split()
        assert ready[:1] == ["ready"], self.log.read_text()
        self.url = ready[1]

    def api(self, method, path, body=None, token=None, company=None, expect=200):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if company:
            headers["x-company-id"] = company
        if isinstance(body, bytes):
            headers["content-type"] = "application/x-www-form-urlencoded"
        status, answer = call(method, self.url + path, body, headers)
        assert status == expect, f"{method} {path}: {status} {answer}"
        return answer

    def sign_in(self, email):
        form = urllib.parse.urlencode({"username": email, "password": PASSWORD}).encode()
        return self.api("POST", "/auth/login", form)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class Run:
    def __init__(self, server, browser, shots):
        self.server, self.browser, self.shots = server, browser, shots
        self.opened = set()

    def picture(self, name):
        if self.shots:
            self.browser.picture(f"{self.shots}/{name}.png")

    def open_mail(self, address, letter):
        """Opens the new mail in the mailbox and follows its button to the page."""
        deadline = time.monotonic() + 15
        path = None
        while not path:
            assert time.monotonic() < deadline, f"no {letter} to {address}"
            mails = self.server.api("GET", f"/dev/mail.json?to={urllib.parse.quote(address)}")
            mails = mails.get("items", mails) if isinstance(mails, dict) else mails
            new = [m["id"] for m in mails if m["letter"] == letter and m["id"] not in self.opened]
            path = f"/dev/mail/{new[0]}" if new else None
            time.sleep(0.2)
        self.opened.update(new)
        self.browser.open(self.server.url + "/dev/mail")
        self.browser.click(f'a[href="{path}"]')
        self.picture(f"mail-{letter}")
        self.browser.into_frame("iframe")
        self.browser.click('a[href*="#token="]')
        self.browser.to_newest_window()

    def check_page(self, name):
        """No token in the address, nothing wider than the screen, no complaint on the console."""
        self.picture(name)
        address = self.browser.address()
        assert "token" not in address and "#" not in address, address
        wide = self.browser.run("document.documentElement.scrollWidth > window.innerWidth")
        assert not wide, f"{name} is wider than the screen"
        complaints = [c for c in self.browser.complaints() if "favicon" not in c]
        assert not complaints, complaints

    def whole(self):
        api, browser = self.server.api, self.browser
        profile = {"first_name": "Ana", "last_name": "Gómez"}
        api("POST", "/auth/register", {"email": ANA, "password": PASSWORD, "profile": profile}, expect=201)
        self.open_mail(ANA, "verify-email")
        browser.find("form button")
        self.check_page("verify")
        browser.click("form button")
        browser.find("#done")
        self.check_page("verified")

        ana = self.server.sign_in(ANA)["access_token"]
        companies = []
        for name in ["Supermercado La Esquina S.A.S.", "Panadería El Trigal"]:
            company = {"name": name, "nit": "900123456", "phone_number": "3001234567"}
            companies.append(api("POST", "/company", company, ana, expect=201)["id"])
        first, second = companies
        invitation = {"email": LUZ, "role": "seller"}
        api("POST", "/auth/invite-user", invitation, ana, first, expect=201)

        self.open_mail(LUZ, "invitation")
        browser.find("#anew")
        assert "Supermercado La Esquina" in browser.text("#about") and "vendedor" in browser.text("#about")
        self.check_page("invited")
        browser.type("#first_name", "Luz")
        browser.type("#last_name", "Paz")
        browser.type("#new_password", PASSWORD)
        browser.click("#anew button")
        browser.find("#done")
        self.check_page("accepted")
        luz = self.server.sign_in(LUZ)
        assert [(c["company_id"], c["role"]) for c in luz["companies"]] == [(first, "seller")]

        # Now she has an account: another company's invitation asks for her password.
        api("POST", "/auth/invite-user", {**invitation, "role": "admin", "language": "en"}, ana, second, expect=201)
        self.open_mail(LUZ, "invitation")
        browser.type("#password", "no es esta frase")
        browser.click("#known button")
        browser.find('[data-problem="invalid-credentials"]')
        self.picture("wrong-password")
        browser.complaints()  # the browser reports the 401
        browser.run("document.getElementById('password').value = ''")
        browser.type("#password", PASSWORD)
        browser.click("#known button")
        browser.find("#done")
        self.check_page("accepted-again")
        luz = self.server.sign_in(LUZ)
        assert {(c["company_id"], c["role"]) for c in luz["companies"]} == {(first, "seller"), (second, "admin")}

        # The link is used up, and says so.
        browser.open("about:blank")  # another fragment alone loads nothing
        browser.open(self.server.url + "/account/accept-invitation#token=used")
        browser.find('[data-problem="invitation-invalid"]')
        self.picture("used")


def main():
    program = os.path.abspath(sys.argv[1])
    shots = sys.argv[2] if len(sys.argv) > 2 else None
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        server = Server(program, directory)
        try:
            browser = Browser(360, 740)
            try:
                Run(server, browser, shots).whole()
            finally:
                browser.close()
        finally:
            server.stop()
    print(f"two people came in by their mails, in {time.monotonic() - started:.0f} s")


main()
