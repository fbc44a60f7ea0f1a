/** The value of an environment variable that must be there. */
export function required(name: string): string {
  const value = process.env[name]
  if (value === undefined || value === '')
    throw new Error(`set the environment variable ${name}; README.md has an example`)
  return value
}
