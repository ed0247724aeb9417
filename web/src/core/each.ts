/* web/src/core/each.ts: the same with many. */
const AT_ONCE = 4;

/* A few at a time; returns what was refused. */
export async function forEach<T>(all: T[], run: (x: T) => Promise<unknown>): Promise<Error[]> {
  const left = [...all];
  const errors: Error[] = [];

  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let x = left.shift(); x !== undefined; x = left.shift())
        try {
          await run(x);
        } catch (e) {
          errors.push(e as Error);
        }
    }),
  );
  return errors;
}
