/* web/src/parts/Logo.tsx: the mark. */
export function Logo() {
  return (
    <svg viewBox="0 0 32 32" className="logo" aria-hidden="true">
      <rect width="32" height="32" rx="7" />
      <path d="M7 22h18v3H7zM9 16h14v4H9zM12 7h8v7h-8z" />
    </svg>
  );
}
