// Copy buttons. Without this script they stay hidden, and the text can be selected.
for (const button of document.querySelectorAll("[data-copies]")) {
  const code = document.getElementById(button.dataset.copies);
  const said = button.parentElement.querySelector("[role=status]");
  button.hidden = false;
  button.addEventListener("click", async () => {
    said.textContent = "";
    try {
      await navigator.clipboard.writeText(code.textContent);
      said.textContent = button.dataset.copied;
    } catch {
      getSelection().selectAllChildren(code);
      said.textContent = button.dataset.failed;
    }
  });
}
