// What the widget manager expects of a page, before it starts: its icon fonts, and MathJax 2's way to ask for typesetting.
window.__jupyter_widgets_assets_path__ = new URL("html-manager/", document.currentScript.src).href;
window.addEventListener("load", () => {
  if (window.MathJax && !MathJax.Hub) MathJax.Hub = { Queue: ([, , element]) => MathJax.typesetPromise([element]) };
});
