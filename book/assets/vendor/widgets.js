// What the widget manager expects of a page, before it starts: its icon fonts, where widgets of our own find anywidget
// (require.js takes its configuration from a global of this name), and MathJax 2's way to ask for typesetting.
{
  const here = document.currentScript.src;
  window.__jupyter_widgets_assets_path__ = new URL("html-manager/", here).href;
  window.require = { paths: { anywidget: new URL("anywidget/index", here).href }, waitSeconds: 60 };
}
window.addEventListener("load", () => {
  if (window.MathJax && !MathJax.Hub) MathJax.Hub = { Queue: ([, , element]) => MathJax.typesetPromise([element]) };
});
