// Before anything is painted: the colours that were chosen, where they are not the system's.
try {
  const chosen = localStorage.getItem("relay-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch {
  // A browser that keeps nothing shows the system's colours.
}
