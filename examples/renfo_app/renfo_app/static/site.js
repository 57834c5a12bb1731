/* Comforts only: everything works without this file. */
"use strict";

// Times in the reader's own zone.
const clock = new Intl.DateTimeFormat("fr-FR", { dateStyle: "medium", timeStyle: "short" });
for (const time of document.querySelectorAll("time[datetime]")) {
  time.textContent = clock.format(new Date(time.dateTime));
}

// A reload must not congratulate twice.
if (location.search.includes("fait=")) {
  history.replaceState(null, "", location.pathname);
}

const form = document.getElementById("ajouter");
if (form) {
  const [file, title, bar, text, error, cancel] =
    ["file", "title", "progress", "progress-text", "upload-error", "upload-cancel"]
      .map((id) => document.getElementById(id));
  const submit = form.querySelector("[type=submit]");
  const megabytes = (bytes) =>
    (bytes / 1e6).toLocaleString("fr-FR", { maximumFractionDigits: 1 }) + " Mo";

  const show = (busy, message) => {
    bar.parentElement.hidden = !busy;
    cancel.hidden = !busy;
    submit.disabled = busy;
    error.hidden = !message;
    error.textContent = message || "";
  };

  file.addEventListener("change", () => {
    if (file.files[0] && !title.value) {
      title.value = file.files[0].name.replace(/\.[^.]*$/, "").replace(/[_-]+/g, " ");
    }
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (file.files[0].size > Number(form.dataset.limit)) {
      show(false, "Ce fichier est trop gros.");
      return;
    }
    const upload = new XMLHttpRequest();
    const failed = () => show(false,
      upload.status === 413 ? "Ce fichier est trop gros."
        : "L’envoi n’a pas abouti. Vérifiez votre connexion et réessayez.");
    upload.open("POST", form.action);
    upload.setRequestHeader("Accept", "text/html");
    upload.upload.addEventListener("progress", (step) => {
      bar.value = 100 * step.loaded / step.total;
      text.textContent = step.loaded < step.total
        ? `${Math.floor(bar.value)} % : ${megabytes(step.loaded)} sur ${megabytes(step.total)}`
        : "Vidéo reçue, mise à l’abri sur plusieurs machines…";
    });
    // The answer is a redirect to the page, which the browser has followed by now.
    upload.addEventListener("load", () => {
      if (upload.status === 200 && new URL(upload.responseURL).pathname === "/") {
        location.assign("/?fait=video");
      } else {
        failed();
      }
    });
    upload.addEventListener("error", failed);
    upload.addEventListener("abort", () => show(false));
    cancel.onclick = () => upload.abort();
    bar.value = 0;
    text.textContent = "";
    show(true);
    upload.send(new FormData(form));
  });
}
