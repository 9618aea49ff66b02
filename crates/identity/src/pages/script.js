"use strict";
// The token is in the fragment, which is sent to nobody. Taken out of the address, neither the history
// nor a shared address has it.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (location.hash) history.replaceState(null, "", location.pathname + location.search);
for (const link of document.querySelectorAll("[data-language]"))
  if (token) link.hash = "token=" + encodeURIComponent(token);

// Shows the text for a problem's code, none for null.
function show(code) {
  const texts = [...document.querySelectorAll("[data-problem]")];
  for (const text of texts) text.hidden = true;
  const text = code && (texts.find((t) => t.dataset.problem === code) || texts.find((t) => t.dataset.problem === "other"));
  if (text) text.hidden = false;
}

// Posts JSON; the answer's body, or the problem with its code thrown.
async function post(path, body) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), credentials: "omit" });
  const text = await answer.text();
  const json = text ? JSON.parse(text) : null;
  if (!answer.ok) throw json;
  return json;
}

// <form data-post="/auth/…" data-done="id">: its fields and the token are posted; then the forms give
// way to the element of that id. With data-without-token the page needs none.
const forms = [...document.querySelectorAll("form[data-post]")];
for (const form of forms) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const buttons = forms.flatMap((f) => [...f.querySelectorAll("button")]);
    const body = Object.fromEntries(new FormData(form));
    if (!("withoutToken" in form.dataset)) body.token = token;
    show(null);
    for (const button of buttons) button.disabled = true;
    try {
      await post(form.dataset.post, body);
      for (const f of forms) f.hidden = true;
      document.getElementById(form.dataset.done).hidden = false;
    } catch (problem) {
      show((problem && problem.code) || "other");
    }
    for (const button of buttons) button.disabled = false;
  });
}
if (!token && forms.some((form) => !("withoutToken" in form.dataset))) {
  for (const form of forms) form.hidden = true;
  show("token-missing");
}
