// One switch for the code of all pages, remembered; a way for the keyboard past the contents to the sliders.
{
  const KEY = "rlli-code";
  const remembered = () => { try { return localStorage.getItem(KEY) === "shown"; } catch { return false; } };
  const remember = (shown) => { try { localStorage.setItem(KEY, shown ? "shown" : "folded"); } catch { /* private or no storage */ } };

  const start = () => {
    const button = document.querySelector(".code-switch");
    const apply = (shown) => {
      for (const box of document.querySelectorAll("details.above-input")) box.open = shown;
      button.setAttribute("aria-pressed", shown);
    };
    if (button) {
      button.hidden = false;
      if (remembered()) apply(true);
      button.addEventListener("click", () => { const shown = button.getAttribute("aria-pressed") !== "true"; remember(shown); apply(shown); });
    }
    if (document.getElementById("sliders")) {
      document.getElementById("pst-skip-link")?.insertAdjacentHTML("beforeend", ' <a href="#sliders">Skip to the sliders</a>');
    }
  };
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
}
