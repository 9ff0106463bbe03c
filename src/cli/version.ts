/** Put in by the build from package.json. */
export const VERSION = process.env.PORTCTL_VERSION ?? 'unbuilt'
