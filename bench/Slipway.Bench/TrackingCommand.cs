using System.Globalization;

namespace Slipway.Bench;

/// <summary>The arguments of <c>bench/tracking.sh</c>.</summary>
internal static class TrackingCommand
{
    private const string Usage =
        "usage: bench/tracking.sh URL [URL2] [--runs N] [--rounds N] [--seconds N] [--connections N] [--pid N] [--pid2 N] [--postgres] [--only TEXT]\n" +
        "       bench/tracking.sh --start | --million | --soak MINUTES [--per-second N]";

    public static async Task<int> RunAsync(string[] args)
    {
        switch (args)
        {
            case ["--start"]:
                await TrackingStart.RunAsync(rounds: 5);
                return 0;
            case ["--million"]:
                await TrackingMillion.RunAsync();
                return 0;
            case ["--soak", var text] when double.TryParse(text, CultureInfo.InvariantCulture, out var minutes):
                await TrackingSoak.RunAsync(minutes, null);
                return 0;
            case ["--soak", var text, "--per-second", var rate]
                when double.TryParse(text, CultureInfo.InvariantCulture, out var minutes) && double.TryParse(rate, CultureInfo.InvariantCulture, out var perSecond) && perSecond > 0:
                await TrackingSoak.RunAsync(minutes, perSecond);
                return 0;
        }

        var settings = new TrackingSettings();
        for (var i = 0; i < args.Length; i++)
        {
            int Number() => int.Parse(args[++i], CultureInfo.InvariantCulture);
            switch (args[i])
            {
                case "--runs" when i + 1 < args.Length: settings = settings with { Runs = Number() }; break;
                case "--rounds" when i + 1 < args.Length: settings = settings with { Rounds = Number() }; break;
                case "--seconds" when i + 1 < args.Length: settings = settings with { Seconds = double.Parse(args[++i], CultureInfo.InvariantCulture) }; break;
                case "--connections" when i + 1 < args.Length: settings = settings with { Connections = Number() }; break;
                case "--pid" when i + 1 < args.Length: settings.Processes[0] = Number(); break;
                case "--pid2" when i + 1 < args.Length: settings.Processes[1] = Number(); break;
                case "--postgres": settings = settings with { Postgres = true }; break;
                case "--only" when i + 1 < args.Length: settings = settings with { Only = args[++i] }; break;
                case var url when settings.Servers.Count < 2 && Uri.TryCreate(url, UriKind.Absolute, out var address) && address.Scheme == "http": settings.Servers.Add(address); break;
                default:
                    Console.Error.WriteLine(Usage);
                    return 2;
            }
        }

        if (settings.Servers.Count == 0)
        {
            Console.Error.WriteLine(Usage);
            return 2;
        }

        await TrackingBench.RunAsync(settings);
        return 0;
    }
}
