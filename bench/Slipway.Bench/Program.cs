using System.Globalization;
using Slipway.Bench;

if (args is ["tracking", ..])
{
    return await TrackingCommand.RunAsync(args[1..]);
}

if (args is ["lineage", ..])
{
    return await LineageBench.RunAsync(args[1..]);
}

if (args is ["rollouts", ..])
{
    return RolloutBench.Run(args[1..]);
}

if (args is ["registry", ..])
{
    if (args is not (["registry"] or ["registry", "--database", _]))
    {
        Console.Error.WriteLine("usage: bench/registry.sh [--database postgresql://…]");
        return 2;
    }

    await RegistryBench.RunAsync(args.ElementAtOrDefault(2));
    return 0;
}

var sections = new List<string>();
var settings = new BenchSettings();
for (var i = 0; i < args.Length; i++)
{
    switch (args[i])
    {
        case "serving" or "grpc" or "half" or "fastify" or "fastapi" or "batching" or "allocations" or "streams" or "join" or "start" or "registration" or "memory":
            sections.Add(args[i]);
            break;
        case "--rounds" when i + 1 < args.Length:
            settings = settings with { Rounds = int.Parse(args[++i], CultureInfo.InvariantCulture) };
            break;
        case "--seconds" when i + 1 < args.Length:
            settings = settings with { Seconds = int.Parse(args[++i], CultureInfo.InvariantCulture) };
            break;
        case "--connections" when i + 1 < args.Length:
            settings = settings with { Connections = int.Parse(args[++i], CultureInfo.InvariantCulture) };
            break;
        case "--labels" when i + 1 < args.Length:
            settings = settings with { Labels = int.Parse(args[++i], CultureInfo.InvariantCulture) };
            break;
        case "--readings" when i + 1 < args.Length:
            settings = settings with { Readings = int.Parse(args[++i], CultureInfo.InvariantCulture) };
            break;
        case "--minutes" when i + 1 < args.Length:
            settings = settings with { Minutes = int.Parse(args[++i], CultureInfo.InvariantCulture) };
            break;
        case "--pin":
            settings = settings with { Pin = true };
            break;
        default:
            Console.Error.WriteLine(
                "usage: bench/run.sh [serving] [grpc] [half] [fastify] [fastapi] [batching] [allocations] [streams] [join] [start] [registration] [memory [--minutes N]] [--rounds N] [--seconds N] [--connections N] [--pin] [--labels N] [--readings N]");
            return 2;
    }
}

var all = sections.Count == 0;
if (all || sections.Contains("serving"))
{
    await ServingBench.RunAsync(settings);
}

if (all || sections.Contains("grpc"))
{
    await ServingBench.GrpcAsync(settings);
}

if (all || sections.Contains("half"))
{
    await ServingBench.HalfLoadAsync(settings);
}

if (all || sections.Contains("fastapi"))
{
    await ServingBench.FastApiAsync(settings);
}

if (all || sections.Contains("fastify"))
{
    await ServingBench.FastifyAsync(settings);
}

if (all || sections.Contains("batching"))
{
    await ServingBench.BatchingAsync(settings);
}

if (all || sections.Contains("allocations"))
{
    await AllocationBench.RunAsync();
}

if (all || sections.Contains("streams"))
{
    await StreamBench.RunAsync(settings);
}

if (all || sections.Contains("join"))
{
    await JoinBench.RunAsync(settings);
}

if (all || sections.Contains("start"))
{
    await StartBench.RunAsync(settings);
}

if (all || sections.Contains("registration"))
{
    await RegistrationBench.RunAsync(settings);
}

// Only where it is named: it takes ten minutes, and leaves gigabytes of predictions.
if (sections.Contains("memory"))
{
    await ServingBench.MemoryAsync(settings);
}

return 0;
